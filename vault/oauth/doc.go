// Package oauth requests OAuth 2.0 tokens: it has the providers and their endpoints, the links for users, and the token
// requests with a code, a refresh token or a client's own credentials. It stores nothing.
//
// Providers are configured in a TOML file (docs/vault.md, "OAuth providers"). A client's secret is never in that
// file. It is in a file of its own or a systemd credential, and read for each request, so that it can be replaced.
package oauth
