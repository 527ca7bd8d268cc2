//go:build !cgo

#include "textflag.h"

// The runtime calls what _cgo_init points to first of all, before it has touched a signal. In a program
// without cgo it is nil, and this is the only definition with a value. See docs/adr/0012-signals.md.
DATA _cgo_init+0(SB)/8, $entry<>(SB)
GLOBL _cgo_init(SB), NOPTR, $8

// realTime are the signals 34 to 64.
DATA realTime<>+0(SB)/8, $0xfffffffe00000000
GLOBL realTime<>(SB), NOPTR|RODATA, $8

// tls is the thread-local storage of the first thread. The runtime has g in the word below the address in FS.
GLOBL tls<>(SB), NOPTR, $16

// entry notes what the runtime is about to change. Then it sets up thread-local storage, since the runtime
// leaves that to what _cgo_init points to.
TEXT entry<>(SB),NOSPLIT|NOFRAME,$0
	SUBQ $64, SP

	XORL R13, R13
	MOVL $64, R14
signal:
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
	JNE  signal
	MOVQ R13, ·ignored(SB)

	MOVL $14, AX          // rt_sigprocmask(SIG_BLOCK, nil, old, 8)
	XORL DI, DI
	XORL SI, SI
	LEAQ ·blocked(SB), DX
	MOVL $8, R10
	SYSCALL

	MOVQ 96(SP), CX       // argc: rt0_go has it at 24(SP), and argv at 32(SP)
	MOVQ 104(SP), BX
	TESTB $7, BX
	JNE  arguments
	CMPQ BX, SP           // argv is on this stack, after argc
	JLS  arguments
	CMPQ -8(BX), CX
	JNE  arguments
argument:
	ADDQ $8, BX
	MOVQ 0(BX), DI
	TESTQ DI, DI
	JEQ  arguments
	CMPL 0(DI), $0x6e7572 // "run"
	JNE  argument
	MOVL $14, AX          // rt_sigprocmask(SIG_BLOCK, realTime, nil, 8)
	XORL DI, DI
	LEAQ realTime<>(SB), SI
	XORL DX, DX
	MOVL $8, R10
	SYSCALL
	MOVQ $1, ·ordered(SB)
arguments:

	XORL R13, R13
	MOVL $2, R14
stream:
	MOVL $72, AX          // fcntl(fd, F_GETFD)
	MOVQ R14, DI
	MOVL $1, SI
	SYSCALL
	SHLQ $1, R13
	CMPQ AX, $-9          // EBADF
	JNE  open
	ORQ  $1, R13
open:
	DECQ R14
	JGE  stream
	MOVQ R13, ·closed(SB)

	MOVL $302, AX         // prlimit64(0, RLIMIT_NOFILE, nil, old)
	XORL DI, DI
	MOVL $7, SI
	XORL DX, DX
	LEAQ ·files(SB), R10
	SYSCALL

	MOVL $158, AX         // arch_prctl(ARCH_SET_FS, tls+8)
	MOVL $0x1002, DI
	LEAQ tls<>+8(SB), SI
	SYSCALL
	TESTQ AX, AX
	JNE  crash

	MOVQ $1, ·noted(SB)
	ADDQ $64, SP
	RET

crash:
	INT  $3
