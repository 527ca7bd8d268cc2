#include "textflag.h"

// func relayHandler() (handler, restorer uintptr)
TEXT ·relayHandler(SB),NOSPLIT,$0-16
	MOVD $relay<>(SB), R0
	MOVD R0, handler+0(FP)
	MOVD $sigreturn<>(SB), R0
	MOVD R0, restorer+8(FP)
	RET

// relay: see relaysig_linux_amd64.s.
TEXT relay<>(SB),NOSPLIT|NOFRAME|TOPFRAME,$0
	CMPW  $13, R0         // SIGPIPE
	BNE   pass
	MOVW  16(R1), R2      // siginfo.si_pid
	MOVW  ·ownPID(SB), R3
	CMPW  R3, R2
	BEQ   drop
pass:
	SUB   $32, RSP
	MOVW  R0, 16(RSP)
	MOVW  ·relayPipe(SB), R0
	ADD   $16, RSP, R1
	MOVD  $1, R2
	MOVD  $64, R8         // write
	SVC
	ADD   $32, RSP
drop:
	RET

TEXT sigreturn<>(SB),NOSPLIT|NOFRAME,$0
	MOVD $139, R8         // rt_sigreturn
	SVC
	BRK
