#include "textflag.h"

// func catchHandler() (handler, restorer uintptr)
TEXT ·catchHandler(SB),NOSPLIT,$0-16
	MOVD $catch<>(SB), R0
	MOVD R0, handler+0(FP)
	MOVD $sigreturn<>(SB), R0
	MOVD R0, restorer+8(FP)
	RET

// catch: see catch_linux_amd64.s.
TEXT catch<>(SB),NOSPLIT|NOFRAME|TOPFRAME,$0
	MOVW  8(R1), R3       // si_code
	MOVW  16(R1), R4      // si_pid
	MOVW  ·ownPID(SB), R5
	CMNW  $6, R3          // SI_TKILL
	BNE   process
	CMPW  R5, R4
	BEQ   runtime
process:
	CMPW  $13, R0         // SIGPIPE
	BNE   fault
	CMPW  R5, R4
	BEQ   done
fault:
	CMPW  $0, R3          // SI_USER
	BLE   keep
	MOVD  ·faults(SB), R6
	SUB   $1, R0, R7
	LSR   R7, R6, R6
	TBNZ  $0, R6, runtime

keep:
	CMPW  $34, R0
	BLT   write
	MOVD  $178, R8        // gettid
	SVC
	MOVW  ·ownThread(SB), R5
	CMPW  R5, R0
	BEQ   write
	MOVD  ·ordered(SB), R6
	MOVD  40(R2), R7      // uc_sigmask
	ORR   R6, R7
	MOVD  R7, 40(R2)

write:
	MOVW  ·catchPipe(SB), R0
	MOVD  $32, R2
	MOVD  $64, R8         // write
	SVC
done:
	RET

runtime:
	MOVD  $·runtimeHandlers(SB), R6
	MOVD  (R6)(R0<<3), R6
	CMP   $1, R6          // SIG_DFL, SIG_IGN
	BLS   done
	JMP   (R6)

TEXT sigreturn<>(SB),NOSPLIT|NOFRAME,$0
	MOVD $139, R8         // rt_sigreturn
	SVC
	BRK
