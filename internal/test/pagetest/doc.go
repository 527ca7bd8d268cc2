// Package pagetest has tests of the vault's page, with a real browser and a real vault. If AXE_JS is the path of axe.min.js of the
// npm package axe-core, axe checks every view.
//
// This command makes the pictures in docs/screenshots:
//
//	go test ./internal/test/pagetest -run TestScreenshots -update
package pagetest
