// Package api is the contract between the agent (miosa-env), the vault (miosa-vault) and every
// MIOSA SDK: the wire types, one table of errors and statuses, the sealing of values to one machine,
// and Value, the only form a secret has inside our programs.
//
// It imports no other package of this module; every other package imports it. The contract in
// prose is docs/api.md.
package api
