package api

// Quietly runs f, which handles values in plaintext, without leaving copies of them in memory. A signal would make the
// kernel and Go's scheduler store the processor's registers, so none interrupts f, and afterwards the registers are
// cleared. f must be short and must not block.
func Quietly(f func()) {
	resume := holdSignals()
	defer resume()
	defer ScrubRegisters()
	f()
}

// ScrubRegisters overwrites the vector registers that copying and decrypting use.
func ScrubRegisters() {
	var from, to [256]byte
	move(to[:], from[:]) // for this length Go's copy uses all of its registers
}

// move isn't inlined, so that the compiler doesn't optimize the copy of zeros away.
//
//go:noinline
func move(to, from []byte) { copy(to, from) }
