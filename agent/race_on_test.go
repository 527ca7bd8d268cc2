//go:build race

package agent_test

const raced = true // the race detector multiplies memory, and maps all of the address space
