#include "textflag.h"

// func catchHandler() (handler, restorer uintptr)
TEXT ·catchHandler(SB),NOSPLIT,$0-16
	LEAQ catch<>(SB), AX
	MOVQ AX, handler+0(FP)
	LEAQ sigreturn<>(SB), AX
	MOVQ AX, restorer+8(FP)
	RET

// catch is a signal handler. It writes the start of the signal's siginfo_t to the pipe ·catchPipe. It
// runs on the thread's signal stack and uses nothing of Go. Two kinds of signals aren't written:
//
// - SIGPIPE that this process caused by writing to a closed pipe or connection is dropped. The kernel
//   reports this process as its sender.
// - Faults of this process, and signals that the runtime sends to its threads, are passed to the runtime's
//   handler.
TEXT catch<>(SB),NOSPLIT|NOFRAME|TOPFRAME,$0
	MOVL 8(SI), AX        // si_code
	MOVL 16(SI), CX       // si_pid
	CMPL AX, $-6          // SI_TKILL
	JNE  process
	CMPL CX, ·ownPID(SB)
	JEQ  runtime
process:
	CMPL DI, $13          // SIGPIPE
	JNE  fault
	CMPL CX, ·ownPID(SB)
	JEQ  done
fault:
	CMPL AX, $0           // SI_USER; codes of signals sent by processes aren't greater
	JLE  keep
	MOVQ ·faults(SB), R8
	LEAQ -1(DI), R9
	BTQ  R9, R8
	JCS  runtime

keep:
	// Only one thread receives real-time signals, so that they stay in order: other threads block them
	// from now on.
	CMPL DI, $34
	JLT  write
	MOVL $186, AX         // gettid
	SYSCALL
	CMPL AX, ·ownThread(SB)
	JEQ  write
	MOVQ ·ordered(SB), R8
	ORQ  R8, 296(DX)      // uc_sigmask

write:
	MOVL ·catchPipe(SB), DI
	MOVL $32, DX
	MOVL $1, AX           // write
	SYSCALL
done:
	RET

runtime:
	LEAQ ·runtimeHandlers(SB), R8
	MOVQ (R8)(DI*8), R8
	CMPQ R8, $1           // SIG_DFL, SIG_IGN
	JLS  done
	JMP  R8

TEXT sigreturn<>(SB),NOSPLIT|NOFRAME,$0
	MOVL $15, AX          // rt_sigreturn
	SYSCALL
	INT  $3
