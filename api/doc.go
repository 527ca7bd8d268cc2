// Package api is the API between the agent (miosa-env), the vault (miosa-vault) and MIOSA's SDKs: the wire types, one
// table of errors and statuses, the sealing of values to one machine, and Value, the only form of a secret in these
// programs. It imports no other package of this module. docs/api.md describes the API.
package api
