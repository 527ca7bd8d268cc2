//go:build race

package simulation

const raced = true // which takes ten times as long
