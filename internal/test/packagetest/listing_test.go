//go:build !race

package packagetest

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/releasetest"
	"github.com/google/go-cmp/cmp"
)

// entry returns the form in which files of a package are compared: mode, owner, path.
func entry(mode int64, owner, path string) string {
	return fmt.Sprintf("%04o %s /%s", mode&0o7777, owner, strings.TrimPrefix(strings.TrimPrefix(path, "."), "/"))
}

// want lists the files of a package in a format, without the many manual pages.
func want(name, format string) []string {
	zsh, documents := "site-functions", []string{"/usr/share/licenses/" + name + "/LICENSE", "/usr/share/licenses/" + name + "/THIRD-PARTY"}
	if format == "deb" {
		doc := "/usr/share/doc/" + name + "/"
		zsh, documents = "vendor-completions", []string{doc + "copyright", doc + "changelog.gz", doc + "changelog.Debian.gz", doc + "third-party.gz", "/usr/share/lintian/overrides/" + name}
	}
	list := []string{"0755 root /usr/bin/" + name}
	for _, path := range append(documents,
		"/usr/share/bash-completion/completions/"+name, "/usr/share/zsh/"+zsh+"/_"+name, "/usr/share/fish/vendor_completions.d/"+name+".fish") {
		list = append(list, "0644 root "+path)
	}
	list = append(list, units(name, format)...)
	slices.Sort(list)
	return list
}

// sameFiles compares the files of a package with the expected ones and checks its manual pages.
func sameFiles(t *testing.T, name, format string, got []string) {
	t.Helper()
	pages := 0
	got = slices.DeleteFunc(got, func(s string) bool {
		page := strings.HasPrefix(s, "0644 root /usr/share/man/man1/"+name) && strings.HasSuffix(s, ".1.gz")
		if page {
			pages++
		}
		return page
	})
	if pages < 5 {
		t.Errorf("%d manual pages", pages)
	}
	slices.Sort(got)
	if diff := cmp.Diff(got, want(name, format)); diff != "" {
		t.Errorf("files (-got +want):\n%s", diff)
	}
}

// each runs a test for each package and processor.
func each(t *testing.T, test func(t *testing.T, name, machine string)) {
	for _, name := range releasetest.Programs {
		for _, machine := range []string{"amd64", "arm64"} {
			t.Run(name+"/"+machine, func(t *testing.T) { test(t, name, machine) })
		}
	}
}

// tarred lists the regular files of an archive. All must have the time of the commit.
func tarred(t *testing.T, from io.Reader) (files []string) {
	t.Helper()
	for r := tar.NewReader(from); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.ModTime.Unix() != epoch {
			t.Errorf("%s is of %s", h.Name, h.ModTime)
		}
		if h.Uname != "root" || h.Uid != 0 || h.Gid != 0 {
			t.Errorf("%s belongs to %s (%d:%d)", h.Name, h.Uname, h.Uid, h.Gid)
		}
		if h.Typeflag == tar.TypeReg && !strings.HasPrefix(h.Name, ".PKGINFO") {
			files = append(files, entry(h.Mode, h.Uname, h.Name))
		}
	}
}

func TestDeb_Files(t *testing.T) {
	needs.Command(t, "dpkg-deb")
	each(t, func(t *testing.T, name, machine string) {
		deb := file(t, name+"_1.2.3_"+machine+".deb")
		c := exec.CommandContext(t.Context(), "dpkg-deb", "--fsys-tarfile", deb)
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		files := tarred(t, out)
		_, _ = io.Copy(io.Discard, out)
		if err := c.Wait(); err != nil {
			t.Fatal(err)
		}
		sameFiles(t, name, "deb", files)
		fields := output(t, "dpkg-deb", "-f", deb, "Package", "Version", "Architecture", "Section", "Recommends")
		if diff := cmp.Diff(fields, "Package: "+name+"\nVersion: 1.2.3-1\nArchitecture: "+machine+"\nSection: admin\nRecommends: ca-certificates\n"); diff != "" {
			t.Errorf("control (-got +want):\n%s", diff)
		}
	})
}

func TestRpm_Files(t *testing.T) {
	needs.Command(t, "rpm")
	each(t, func(t *testing.T, name, machine string) {
		rpm := file(t, name+"_1.2.3_"+machine+".rpm")
		var files []string
		for line := range strings.Lines(output(t, "rpm", "-qp", "--qf", `[%{FILEMODES:octal} %{FILEUSERNAME} %{FILEGROUPNAME} %{FILEMTIMES} %{FILENAMES}\n]`, rpm)) {
			var mode, at int64
			var user, group, path string
			if _, err := fmt.Sscanf(line, "%o %s %s %d %s", &mode, &user, &group, &at, &path); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			if at != epoch || group != "root" {
				t.Errorf("%s is of %d, and %s's", path, at, group)
			}
			if mode&0o170000 == 0o100000 {
				files = append(files, entry(mode, user, path))
			}
		}
		sameFiles(t, name, "rpm", files)
		processor := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[machine]
		got := output(t, "rpm", "-qp", "--qf", "%{NAME} %{VERSION} %{RELEASE} %{ARCH} %{LICENSE} %{BUILDTIME} %{BUILDHOST}", rpm)
		if diff := cmp.Diff(got, fmt.Sprintf("%s 1.2.3 1 %s MIT %d localhost", name, processor, epoch)); diff != "" {
			t.Errorf("header (-got +want):\n%s", diff)
		}
		output(t, "rpm", "-K", "--nosignature", rpm)
	})
}

func TestApk_Files(t *testing.T) {
	each(t, func(t *testing.T, name, machine string) {
		f, err := os.Open(file(t, name+"_1.2.3_"+machine+".apk"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		// Two gzip streams: the metadata that apk reads, and the files.
		buffered := bufio.NewReader(f)
		control, err := gzip.NewReader(buffered)
		if err != nil {
			t.Fatal(err)
		}
		control.Multistream(false)
		about, err := io.ReadAll(control)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{"pkgname = " + name, "pkgver = 1.2.3-r1", "license = MIT", "arch = " + map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[machine]} {
			if !strings.Contains(string(about), line+"\n") {
				t.Errorf("control doesn't say %q", line)
			}
		}
		if _, fields, _ := strings.Cut(string(about), "pkgname"); regexp.MustCompile(`\n[a-z]+ = [^\n]*\n[^a-z\x00]`).MatchString(fields) {
			t.Errorf("a field of control goes over more than a line:\n%s", about)
		}
		data, err := gzip.NewReader(buffered)
		if err != nil {
			t.Fatal(err)
		}
		sameFiles(t, name, "apk", tarred(t, data))
	})
}
