// Package pagetest holds the tests of the vault's page: a real browser, in front of a real vault, does
// what a person would do. Axe looks at every view where AXE_JS names the file axe.min.js of the npm
// package axe-core.
//
// The pictures in docs/screenshots are made by
//
//	go test ./internal/test/pagetest -run TestScreenshots -update
package pagetest
