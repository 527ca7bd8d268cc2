// Package oauthtest has end-to-end tests of OAuth: with a real browser, an independent authorization server, the real vault, and
// the command that gets the token.
package oauthtest
