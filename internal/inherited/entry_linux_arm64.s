//go:build !cgo

#include "textflag.h"

// See entry_linux_amd64.s.
DATA _cgo_init+0(SB)/8, $entry<>(SB)
GLOBL _cgo_init(SB), NOPTR, $8

// realTime are the signals 34 to 64.
DATA realTime<>+0(SB)/8, $0xfffffffe00000000
GLOBL realTime<>(SB), NOPTR|RODATA, $8

TEXT entry<>(SB),NOSPLIT|NOFRAME|TOPFRAME,$0
	MOVD 32(RSP), R22     // argv: rt0_go has it at 16(RSP), and makes room for 16 bytes more
	SUB  $8, R22          // where the kernel's stack begins
	SUB  $64, RSP

	MOVD $0, R20
	MOVD $64, R21
signal:
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
	BNE  signal
	MOVD R20, ·ignored(SB)

	MOVD $135, R8         // rt_sigprocmask(SIG_BLOCK, nil, old, 8)
	MOVD $0, R0
	MOVD $0, R1
	MOVD $·blocked(SB), R2
	MOVD $8, R3
	SVC

	ADD  $8, R22, R4
	MOVD $0x6e7572, R5    // "run"
argument:
	ADD  $8, R4
	MOVD 0(R4), R6
	CBZ  R6, arguments
	MOVWU 0(R6), R6
	CMP  R5, R6
	BNE  argument
	MOVD $135, R8         // rt_sigprocmask(SIG_BLOCK, realTime, nil, 8)
	MOVD $0, R0
	MOVD $realTime<>(SB), R1
	MOVD $0, R2
	MOVD $8, R3
	SVC
	MOVD $1, R4
	MOVD R4, ·ordered(SB)
arguments:

	MOVD $0, R20
	MOVD $2, R21
stream:
	MOVD $25, R8          // fcntl(fd, F_GETFD)
	MOVD R21, R0
	MOVD $1, R1
	SVC
	LSL  $1, R20
	CMN  $9, R0           // EBADF
	BNE  open
	ORR  $1, R20
open:
	SUBS $1, R21
	BGE  stream
	MOVD R20, ·closed(SB)

	MOVD $261, R8         // prlimit64(0, RLIMIT_NOFILE, nil, old)
	MOVD $0, R0
	MOVD $7, R1
	MOVD $0, R2
	MOVD $·files(SB), R3
	SVC

	MOVD $1, R4
	MOVD R4, ·noted(SB)
	MOVD ZR, _cgo_init(SB)
	MOVD R22, RSP
	JMP  _rt0_arm64_linux(SB)
