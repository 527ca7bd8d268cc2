#include "textflag.h"

// func relayHandler() (handler, restorer uintptr)
TEXT ·relayHandler(SB),NOSPLIT,$0-16
	LEAQ relay<>(SB), AX
	MOVQ AX, handler+0(FP)
	LEAQ sigreturn<>(SB), AX
	MOVQ AX, restorer+8(FP)
	RET

// relay is a signal handler: it writes the signal's number, one byte, to the pipe ·relayPipe. It
// runs on the thread's signal stack and touches nothing of Go. A SIGPIPE that we caused ourselves, by
// writing to a closed pipe or connection, is dropped: the kernel says of it that this process sent it.
TEXT relay<>(SB),NOSPLIT|NOFRAME|TOPFRAME,$0
	CMPL DI, $13          // SIGPIPE
	JNE  pass
	MOVL 16(SI), AX       // siginfo.si_pid
	CMPL AX, ·ownPID(SB)
	JEQ  drop
pass:
	SUBQ $24, SP
	MOVL DI, 8(SP)
	MOVL ·relayPipe(SB), DI
	LEAQ 8(SP), SI
	MOVL $1, DX
	MOVL $1, AX           // write
	SYSCALL
	ADDQ $24, SP
drop:
	RET

TEXT sigreturn<>(SB),NOSPLIT|NOFRAME,$0
	MOVL $15, AX          // rt_sigreturn
	SYSCALL
	INT  $3
