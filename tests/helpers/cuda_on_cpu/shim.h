// Runs a CUDA kernel on the CPU: every CUDA thread is a coroutine, and a block's coroutines take turns, each until
// it waits for others. Blocks run one after another. Slow, but the arithmetic and the order of waiting are the GPU's.
#pragma once
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#define __global__
#define __launch_bounds__(threads)
#define __device__
#define __forceinline__ inline
#define __shared__ static
#define __align__(n) alignas(n)

struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
inline float __fdividef(float x, float y) { return x / y; }
template <typename T> void __stwb(T* into, T x) { *into = x; }
struct dim3 { int x, y, z; };
static dim3 threadIdx, blockIdx, blockDim, gridDim;
alignas(16) static char memory[1 << 20];  // a block's dynamic shared memory

using std::erf; using std::exp; using std::exp2; using std::fmax; using std::log; using std::log2; using std::sqrt; using std::tanh;

// bfloat16: the upper half of a float, rounded to nearest, ties to even.
struct __nv_bfloat16 { uint16_t bits; };
inline float __bfloat162float(__nv_bfloat16 x) { uint32_t bits = (uint32_t)x.bits << 16; float y; memcpy(&y, &bits, 4); return y; }
inline __nv_bfloat16 __float2bfloat16_rn(float x) {
    uint32_t bits; memcpy(&bits, &x, 4);
    if (x != x) return {0x7fff};
    return {(uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}

namespace cuda_on_cpu {
// What a block was not given stays as it was; what is read there is NaN.
inline void poison() { memset(memory, 0xff, sizeof(memory)); }
inline int kept_within(long shared) {
    for (long i = shared; i < (long)sizeof(memory); ++i)
        if ((unsigned char)memory[i] != 0xff) return 0;
    return 1;
}

enum State { running, at_block, at_warp, done };
struct Thread { ucontext_t context; std::vector<char> stack; State state; char slot[2][32]; int phase, came[2]; };  // came: to barriers of the block, of the warp
static std::vector<Thread> threads;
static ucontext_t scheduler;
static int current;

inline void wait(State what) {
    const int self = current;
    threads[self].state = what;
    ++threads[self].came[what == at_warp];
    swapcontext(&threads[self].context, &scheduler);
}

// Whether all that `self` waits for have come to the same barrier: those of its block, or of its warp, that still run.
inline bool may_go(int self) {
    const State what = threads[self].state;
    if (what == running) return true;
    const int first = what == at_warp ? self / 32 * 32 : 0;
    const int last = what == at_warp ? std::min<int>(first + 32, threads.size()) : threads.size();
    for (int i = first; i < last; ++i)
        if (threads[i].state != done && threads[i].came[what == at_warp] < threads[self].came[what == at_warp]) return false;
    return true;
}

template <typename Body> void body_of(Body* body) { (*body)(); threads[current].state = done; }
template <typename Body> void trampoline(unsigned low, unsigned high) {
    body_of((Body*)((uintptr_t)low | (uintptr_t)high << 32));
}

// Let a warp's threads run until all of them wait for other warps, or are done; returns how often one ran.
inline int run_warp(int warp) {
    int moved = 0;
    for (;;) {
        std::vector<int> ready;
        for (int i = 32 * warp; i < std::min<int>(32 * warp + 32, threads.size()); ++i)
            if (threads[i].state != done && may_go(i)) ready.push_back(i);
        if (ready.empty()) return moved;
        for (int i : ready) {
            current = i; threadIdx = {i, 0, 0};
            threads[i].state = running;
            swapcontext(&scheduler, &threads[i].context);
            ++moved;
        }
    }
}

template <typename Body> void run_block(Body body) {
    threads.resize(blockDim.x);
    for (int i = 0; i < blockDim.x; ++i) {
        Thread& t = threads[i];
        t.state = running; t.phase = t.came[0] = t.came[1] = 0;
        t.stack.resize(1 << 16);
        getcontext(&t.context);
        t.context.uc_stack.ss_sp = t.stack.data(); t.context.uc_stack.ss_size = t.stack.size();
        t.context.uc_link = &scheduler;
        const uintptr_t p = (uintptr_t)&body;
        makecontext(&t.context, (void (*)())trampoline<Body>, 2, (unsigned)p, (unsigned)(p >> 32));
    }
    // A warp goes as far as it can before the next one begins, and every other block begins with its last warp: what
    // was not waited for is found out.
    const int warps = (blockDim.x + 31) / 32, finished = blockDim.x;
    for (int done_threads = 0, moved = 1; done_threads < finished;) {
        if (!moved) { fprintf(stderr, "the block waits for threads that never come\n"); abort(); }
        moved = done_threads = 0;
        for (int w = 0; w < warps; ++w)
            moved += run_warp(blockIdx.x % 2 ? warps - 1 - w : w);
        for (const Thread& t : threads) done_threads += t.state == done;
    }
}

template <typename Body> void launch(const int* grid, const int* block, Body body) {
    gridDim = {grid[0], grid[1], grid[2]}; blockDim = {block[0], block[1], block[2]};
    for (int y = 0; y < grid[1]; ++y)
        for (int x = 0; x < grid[0]; ++x) { blockIdx = {x, y, 0}; run_block(body); }
}
// The same for a kernel whose threads never wait for one another: one after another, without coroutines.
template <typename Body> void launch_alone(const int* grid, const int* block, Body body) {
    gridDim = {grid[0], grid[1], grid[2]}; blockDim = {block[0], block[1], block[2]};
    for (int y = 0; y < grid[1]; ++y)
        for (int x = 0; x < grid[0]; ++x)
            for (int i = 0; i < block[0]; ++i) { blockIdx = {x, y, 0}; threadIdx = {i, 0, 0}; body(); }
}
}  // namespace cuda_on_cpu

inline void __syncthreads() { cuda_on_cpu::wait(cuda_on_cpu::at_block); }

// Every lane of a warp shows the others a value. It lies in one of two slots in turn, so that a fast lane's next
// value overwrites nothing.
namespace cuda_on_cpu {
template <typename T> auto exchange(const T& mine) {
    static_assert(sizeof(T) <= sizeof(Thread::slot[0]));
    const int self = current, slot = threads[self].phase++ % 2;
    memcpy(threads[self].slot[slot], &mine, sizeof(T));
    wait(at_warp);
    return [first = self / 32 * 32, slot](int lane) { T x; memcpy(&x, threads[first + lane].slot[slot], sizeof(T)); return x; };
}
}  // namespace cuda_on_cpu

inline void __syncwarp() { cuda_on_cpu::wait(cuda_on_cpu::at_warp); }
template <typename T> T __shfl_sync(unsigned, T x, int lane) { return cuda_on_cpu::exchange(x)(lane); }
template <typename T> T __shfl_xor_sync(unsigned, T x, int lane) {
    const auto lanes = cuda_on_cpu::exchange(x);
    const int other = threadIdx.x ^ lane;
    return lanes((other < blockDim.x ? other : threadIdx.x) % 32);
}
