package api

// Quietly runs f, which handles values in the clear, so that no copy of them stays behind in memory
// that nobody thinks of: while f runs no signal interrupts it, since the kernel and Go's scheduler would
// store the processor's registers, and afterwards those registers hold nothing. f must be short and must
// not wait for anything.
func Quietly(f func()) {
	resume := holdSignals()
	defer resume()
	defer ScrubRegisters()
	f()
}

// ScrubRegisters overwrites the vector registers through which copying and decrypting move bytes.
func ScrubRegisters() {
	var from, to [256]byte
	move(to[:], from[:]) // of this length Go's copy uses all registers that it uses at all
}

// move isn't inlined, so that the compiler can't see that nothing but zeros is copied.
//
//go:noinline
func move(to, from []byte) { copy(to, from) }
