#include "textflag.h"

// miosa_env_start: see entry_linux_amd64.s.
TEXT miosa_env_start(SB),NOSPLIT|NOFRAME|TOPFRAME,$0
	SUB  $64, RSP
	MOVD $0, R20
	MOVD $64, R21

next:
	MOVD $134, R8         // rt_sigaction(signal, nil, old, 8)
	MOVD R21, R0
	MOVD $0, R1
	MOVD RSP, R2
	MOVD $8, R3
	SVC
	LSL  $1, R20
	CBNZ R0, known
	MOVD 0(RSP), R4
	CMP  $1, R4           // SIG_IGN
	BNE  known
	ORR  $1, R20

known:
	SUBS $1, R21
	BNE  next
	MOVD R20, ·ignoredMask(SB)
	ADD  $64, RSP
	JMP  _rt0_arm64_linux(SB)
