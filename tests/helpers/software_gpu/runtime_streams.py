"""Streams, events and graphs of CUDA's runtime. Source: NVIDIA, CUDA Runtime API, the chapters of those names."""

from __future__ import annotations

from ctypes import POINTER, c_float, c_int, c_size_t, c_uint, c_void_p

from helpers.software_gpu import streams
from helpers.software_gpu.calls import Functions

_NOT_READY = 600
Out = POINTER(c_void_p)
work = Functions()
events: dict[int, streams.Event] = {}
graphs: dict[int, list] = {}


# Streams and events.


@work
def cudaStreamCreate(stream: Out):
    stream[0] = streams.create(0)


@work
def cudaStreamCreateWithFlags(stream: Out, flags: c_uint):
    stream[0] = streams.create(flags)


@work
def cudaStreamCreateWithPriority(stream: Out, flags: c_uint, priority: c_int):
    stream[0] = streams.create(flags)


@work
def cudaStreamDestroy(stream: c_void_p):
    pass  # what is queued there is done all the same, when somebody waits for it


@work
def cudaStreamSynchronize(stream: c_void_p):
    streams.refuse_recording()
    streams.synchronize(stream)


@work
def cudaStreamQuery(stream: c_void_p):
    return _NOT_READY if streams.get(stream).queue else 0


@work
def cudaStreamWaitEvent(stream: c_void_p, event: c_void_p, flags: c_uint):
    streams.queue(stream, events[event].up_to_here())


@work
def cudaEventCreate(event: Out):
    event[0] = 0x9000 + len(events)
    events[event[0]] = streams.Event()


@work
def cudaEventCreateWithFlags(event: Out, flags: c_uint):
    event[0] = 0x9000 + len(events)
    events[event[0]] = streams.Event()


@work
def cudaEventDestroy(event: c_void_p):
    pass


@work
def cudaEventRecord(event: c_void_p, stream: c_void_p):
    events[event].record(stream)


@work
def cudaEventSynchronize(event: c_void_p):
    streams.refuse_recording()
    streams.waits["host"] += 1
    events[event].up_to_here()()


@work
def cudaEventQuery(event: c_void_p):
    return 0 if events[event].reached() else _NOT_READY


@work
def cudaEventElapsedTime(milliseconds: POINTER(c_float), start: c_void_p, end: c_void_p):
    if not (events[start].reached() and events[end].reached()):
        return _NOT_READY
    milliseconds[0] = 1e3 * (events[end].seconds - events[start].seconds)


# Graphs.


@work
def cudaStreamBeginCapture(stream: c_void_p, mode: c_int):
    streams.get(stream).graph = []


@work
def cudaStreamIsCapturing(stream: c_void_p, status: POINTER(c_int)):
    status[0] = int(streams.get(stream).graph is not None)


@work
def cudaStreamEndCapture(stream: c_void_p, graph: Out):
    found = streams.get(stream)
    recorded, found.graph = found.graph, None
    graph[0] = 0x700000 + len(graphs)
    graphs[graph[0]] = recorded or []


@work
def cudaGraphInstantiate(executable: Out, graph: c_void_p, flags: c_size_t):
    executable[0] = graph


@work
def cudaGraphLaunch(executable: c_void_p, stream: c_void_p):
    for recorded in graphs[executable]:
        streams.queue(stream, recorded)


@work
def cudaGraphUpload(executable: c_void_p, stream: c_void_p):
    pass


@work
def cudaGraphDestroy(graph: c_void_p):
    pass


@work
def cudaGraphExecDestroy(executable: c_void_p):
    pass
