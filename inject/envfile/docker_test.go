package envfile_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/docker/cli/pkg/kvfile"
	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/inject/envfile"
)

// dockerReads returns what docker's parser reads from text. Names without a value are looked up.
func dockerReads(text string) ([]string, error) {
	return kvfile.ParseFromReader(strings.NewReader(text), func(string) (string, bool) { return "looked up", true })
}

func TestDockerReadBack(t *testing.T) {
	p := carried(t, "docker")
	file := filepath.Join(t.TempDir(), "out.env")
	if err := os.WriteFile(file, []byte(encoded(t, "docker", p)), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := kvfile.Parse(file, os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(environOfText(strings.Join(got, "\x00")), wantOf(p)); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}

// TestDockerLimits checks that Encode refuses exactly the values that docker cannot read or would change.
func TestDockerLimits(t *testing.T) {
	longest := strings.Repeat("x", 65_535-len("A="))
	for _, tt := range []struct {
		name, value, want string
	}{
		{"the longest line", longest, ""},
		{"a byte more", longest + "x", "A can't be written as docker: with its name it is longer than the 65535 bytes that docker reads of a line"},
		{"a carriage return within", "a\rb", ""},
		{"a carriage return at the end", "a\r", "A can't be written as docker: its value ends in a carriage return, which docker drops"},
		{"a line break", "a\nB=1", "A can't be written as docker: its value has several lines"},
		{"a line break at the end", "a\n", "A can't be written as docker: its value has several lines"},
		{"bytes", "canary\xff", "A can't be written as docker: its value isn't UTF-8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := envfile.Encode(io.Discard, "docker", pairs("A", tt.value))
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || err.Error() != tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			read, failed := dockerReads("A=" + tt.value + "\n")
			if exact := failed == nil && slices.Equal(read, []string{"A=" + tt.value}); exact != (err == nil) {
				t.Errorf("docker reads it exactly: %v (%v); Encode: %v", exact, failed, err)
			}
		})
	}
}

// FuzzDockerRoundTrip checks that docker reads exactly what Encode writes, and would misread what it refuses.
func FuzzDockerRoundTrip(f *testing.F) {
	for _, value := range nasty {
		f.Add(value)
	}
	f.Add("bytes \xff")
	f.Fuzz(func(t *testing.T, value string) {
		p := pairs("A", "before", "B", value, "C", "'behind'")
		var out bytes.Buffer
		err := envfile.Encode(&out, "docker", p)
		var cant *envfile.CantCarry
		if errors.As(err, &cant) && cant.Name == "B" && out.Len() == 0 {
			read, err := dockerReads("A=before\nB=" + value + "\nC='behind'\n")
			if err == nil && !strings.Contains(value, "\x00") && slices.Equal(read, []string{"A=before", "B=" + value, "C='behind'"}) {
				t.Errorf("Encode refuses %q, which docker reads: %v", value, cant)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		got, err := dockerReads(out.String())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(environOfText(strings.Join(got, "\x00")), wantOf(p)); diff != "" {
			t.Errorf("%q (-got +want):\n%s", out.String(), diff)
		}
	})
}

// FuzzAppend checks that the text of every format fills exactly the memory that was measured for it, so that no copy of
// a value is left in an outgrown buffer, and that the memory is cleared afterwards.
func FuzzAppend(f *testing.F) {
	for _, value := range nasty {
		f.Add(value, "x")
	}
	f.Add("\xff\xfe\u2028\x01", "")
	f.Fuzz(func(t *testing.T, value, other string) {
		p := pairs("B", value, "A", other)
		for _, format := range []string{"shell", "dotenv", "json", "systemd", "docker"} {
			var kept []byte
			err := envfile.Use(format, p, func(text []byte) error {
				if len(text) != cap(text) {
					t.Errorf("%s: wrote %d bytes, measured %d", format, len(text), cap(text))
				}
				if format == "json" && !utf8.Valid(text) {
					t.Error("JSON isn't UTF-8")
				}
				kept = text
				return nil
			})
			if (err == nil) != (len(kept) > 0) {
				t.Errorf("%s: %d bytes, error %v", format, len(kept), err)
			}
			if bytes.Trim(kept, "\x00") != nil {
				t.Errorf("%s: memory not cleared", format)
			}
		}
	})
}
