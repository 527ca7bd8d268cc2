// Command miosa-vault keeps secrets, encrypted, and serves them to the sandboxes and computers they are
// bound to. The contract it speaks is docs/api.md.
package main

import (
	"context"
	"os"

	"github.com/Miosa-osa/miosa-env/internal/buildinfo"
	"github.com/Miosa-osa/miosa-env/internal/inherited"
)

// version is set by the build.
var version = buildinfo.Unknown

func main() {
	inherited.Act()
	inherited.EndByFaults()
	version = buildinfo.Version(version)
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}
