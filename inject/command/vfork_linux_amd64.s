#include "textflag.h"

// func vfork() (pid uintptr, errno syscall.Errno)
//
// The child returns first, and uses the stack: the return address is kept in a register meanwhile.
TEXT ·vfork(SB),NOSPLIT|NOFRAME,$0-16
	MOVL $56, AX          // clone
	MOVL $0x4111, DI      // CLONE_VFORK | CLONE_VM | SIGCHLD
	XORL SI, SI
	XORL DX, DX
	XORL R10, R10
	XORL R8, R8
	POPQ R12
	SYSCALL
	PUSHQ R12
	CMPQ AX, $0xfffffffffffff001
	JCC  failed
	MOVQ AX, pid+0(FP)
	MOVQ $0, errno+8(FP)
	RET
failed:
	NEGQ AX
	MOVQ $0, pid+0(FP)
	MOVQ AX, errno+8(FP)
	RET
