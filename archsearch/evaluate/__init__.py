"""Evaluation of an architecture, cheapest scores first, in this process and in workers."""

#: Module that the first optimizer of a process imports, which takes a second: fork servers do it once for all workers.
COMPILER = "torch._dynamo"
