// The assembler adds the check that the stack has space for the frame, as in every function without NOSPLIT.
TEXT ·ReserveStack(SB), 0, $16384-0
	RET
