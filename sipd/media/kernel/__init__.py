"""RTP forwarded by the kernel: an eBPF program on the interfaces, which user space tells what to forward.

`forwarder` is the face of it. `program` is the program, `instructions` the assembler that makes it, `syscalls` how it
gets into the kernel and `routes` what is asked about addresses. Nothing but the standard library takes part: no
compiler, no other program, no file that stays.
"""
