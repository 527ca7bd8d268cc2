// Command apkinstall installs Alpine packages to a folder, without apk: apkinstall DIR FILE... . It doesn't use the library that
// made the packages. It is a separate module, so that its dependencies stay out of the program's go.mod.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/chainguard-dev/go-apk/pkg/apk"
	"github.com/chainguard-dev/go-apk/pkg/fs"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: apkinstall DIR FILE...")
		os.Exit(2)
	}
	if err := install(context.Background(), os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "apkinstall:", err)
		os.Exit(1)
	}
}

// install initializes the folder, installs the packages, and lists the installed ones.
func install(ctx context.Context, dir string, names []string) error {
	system, err := apk.New(apk.WithFS(fs.DirFS(dir)), apk.WithArch("x86_64"), apk.WithIgnoreMknodErrors(true))
	if err != nil {
		return err
	}
	var packages []apk.InstallablePackage
	for _, name := range names {
		packages = append(packages, file(name))
	}
	if err := errors.Join(system.InitDB(ctx), system.InstallPackages(ctx, nil, packages)); err != nil {
		return err
	}
	installed, err := system.GetInstalled()
	for _, p := range installed {
		fmt.Println(p.Name, p.Version, p.Arch)
	}
	return err
}

// file is the path of a package.
type file string

// URL returns the path.
func (f file) URL() string { return string(f) }

// PackageName returns the name for errors.
func (f file) PackageName() string { return string(f) }

// ChecksumString returns "", since there is no index.
func (f file) ChecksumString() string { return "" }
