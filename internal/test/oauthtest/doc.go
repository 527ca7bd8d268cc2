// Package oauthtest holds no code, only tests that take OAuth from end to end: a person in a real browser, an
// authorization server that we didn't write, the real vault, and the command that gets the token.
package oauthtest
