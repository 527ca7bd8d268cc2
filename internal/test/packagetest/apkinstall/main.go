// Command apkinstall installs packages of Alpine's to a folder: apkinstall DIR FILE... . It is for where there is no apk,
// and reads packages with another code than what made them. It is a module of its own, so that the program has none of what
// it needs.
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

// install makes a system of the folder, installs the packages, and prints what the system says is in it.
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

// file is a package's.
type file string

// URL is its path.
func (f file) URL() string { return string(f) }

// PackageName is what it is called in errors.
func (f file) PackageName() string { return string(f) }

// ChecksumString is empty: there is no index that has it.
func (f file) ChecksumString() string { return "" }
