// Package guidetest has tests that run the commands in the README and in the guides of docs/, except those that need a machine or
// a container, which other packages test.
//
// A comment above each block of commands names the test that runs it, or says why none does. internal/house checks these
// comments.
package guidetest
