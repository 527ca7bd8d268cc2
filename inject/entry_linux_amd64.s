#include "textflag.h"

// miosa_env_start is the program's entry point when linked with -ldflags=-E=miosa_env_start. Before
// Go's runtime installs its own handlers it asks the kernel, for each signal, whether it is ignored,
// and keeps the answer in ·ignoredMask. Then the runtime starts as usual, on the untouched stack.
TEXT miosa_env_start(SB),NOSPLIT|NOFRAME|TOPFRAME,$0
	MOVQ SP, R12
	SUBQ $64, SP
	XORL R13, R13
	MOVL $64, R14

next:
	MOVL $13, AX          // rt_sigaction(signal, nil, old, 8)
	MOVQ R14, DI
	XORL SI, SI
	MOVQ SP, DX
	MOVL $8, R10
	SYSCALL
	SHLQ $1, R13
	TESTQ AX, AX
	JNE  known
	CMPQ 0(SP), $1        // SIG_IGN
	JNE  known
	ORQ  $1, R13

known:
	DECQ R14
	JNE  next
	MOVQ R13, ·ignoredMask(SB)
	MOVQ R12, SP
	JMP  _rt0_amd64_linux(SB)
