// Package oauth is the vault's side of OAuth 2.0 towards providers: which there are, where a user is sent,
// and how a code, a refresh token or a client's own credentials become a token. It keeps nothing: flows,
// tokens and when to renew them are package vault's.
//
// Providers come from a TOML file (docs/vault.md, "OAuth providers"). A client's secret is never in that
// file but in one of its own, or a systemd credential, read anew for each request, so that it can be replaced.
package oauth
