// Package vault is the contract's server: a store of secrets, encrypted at rest, on an embedded
// SQLite database; the HTTP layer over it; and the keys that open either.
//
// A value stands in the clear only between a request and the row it is encrypted into, and between
// that row and the seal of a reveal. Every change commits together with its audit event, and a
// reveal that can't be audited is refused.
//
// The contract in prose is docs/api.md; what protects what is docs/security.md.
package vault
