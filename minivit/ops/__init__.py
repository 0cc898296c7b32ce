"""The functions of `minivit.functions` again, as namespaces that the model can be given.

Every namespace has the names and signatures of `reference`; a fast one replaces some by fused twins.
"""
