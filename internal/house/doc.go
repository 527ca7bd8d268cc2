// Package house holds no code, only tests that what the documents say about this repository is so:
// packages are documented, links lead somewhere, the README's session works.
package house
