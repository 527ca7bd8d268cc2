// Package guidetest holds no code, only tests that run the commands of this project's guides from the guides
// themselves: those of docs/ that no other package drives a machine or a container for, and the README's.
//
// Each block of commands in a document says in a comment above it which test runs it, or that none does and why;
// internal/house holds them to that.
package guidetest
