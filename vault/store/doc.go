// Package store has the data of a vault and its rules: tenants, keys, secrets, bindings, OAuth flows, and the audit. It
// is plain SQL on a database.DB; values are encrypted with package keyring.
//
// A value is in plaintext only between a request and the row that it is encrypted into, and between that row and the
// seal of a reveal. Every change is committed together with its audit event, and a reveal that can't be audited is
// refused.
package store
