// Package keyring holds the keys that a vault's values are encrypted with. Every tenant has a keyset; a tenant's
// keyset is stored wrapped (encrypted) with the root keyset, which is never stored with the data.
//
// A keyset holds one key that encrypts and, during a rotation, older ones that only decrypt. The package stores
// nothing but the root key's file: package store keeps the wrapped keysets, and runs the rotations.
package keyring
