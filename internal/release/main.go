// Command release makes the files of a release from built programs: packages, archives, lists of their components, and
// checksums. `make package` runs it. The same commit gives the same bytes: times are the commit's, owners are root, order is
// by name.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"time"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	set := flag.NewFlagSet("release", flag.ContinueOnError)
	set.SetOutput(stderr)
	r := &release{}
	set.StringVar(&r.bin, "bin", "", "directory with the programs, as OS/ARCH/NAME")
	set.StringVar(&r.root, "root", ".", "directory of the sources")
	set.StringVar(&r.out, "out", "dist", "directory to write to, or to verify")
	set.StringVar(&r.described, "version", "", "version, as git describe says it")
	set.StringVar(&r.nfpm, "nfpm", "", "the program nfpm, which makes the packages")
	set.StringVar(&r.signKey, "sign", "", "file with the SSH key that signs the checksums, or its public key, if ssh-agent has it")
	set.StringVar(&r.publicKey, "public-key", "", "file with the public key that the checksums must be signed with")
	epoch := set.Int64("epoch", 0, "time of the commit, in seconds since 1970")
	verify := set.Bool("verify", false, "make nothing: look whether all is there and as its checksum says")
	if set.Parse(args) != nil {
		return 2
	}
	r.time = time.Unix(*epoch, 0).UTC()
	r.number = numberOf(r.described, r.time)
	do := r.make
	if *verify {
		do = r.verify
	}
	if err := do(ctx, stdout); err != nil {
		fmt.Fprintln(stderr, "release:", err)
		return 1
	}
	return 0
}
