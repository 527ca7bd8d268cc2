package mask

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"testing"
)

// FuzzMaskState checks that a writer resumed from another's state, at any point of the stream, masks as a single writer
// does.
func FuzzMaskState(f *testing.F) {
	if len(maskSeeds) == 0 {
		f.Fatal("no seeds")
	}
	for i, s := range maskSeeds {
		f.Add(s.secrets, s.text, byte(i), i%2 == 0)
	}
	f.Fuzz(func(t *testing.T, lines, text string, cut byte, pause bool) {
		secrets, text := maskCase(lines, text)
		first, _ := New(secrets)
		second, _ := New(secrets)
		var out, want bytes.Buffer
		at := min(int(cut), len(text))

		w, one := first.Writer(&out), first.Writer(&want)
		_, err1 := io.WriteString(w, text[:at])
		_, err2 := io.WriteString(one, text[:at])
		if pause {
			err1, err2 = errors.Join(err1, w.Release()), errors.Join(err2, one.Release())
		}
		sent, err := json.Marshal(w.State())
		if err != nil {
			t.Fatal(err)
		}
		var state State
		if err := json.Unmarshal(sent, &state); err != nil {
			t.Fatal(err)
		}
		w = second.Resume(&out, state)
		_, err3 := io.WriteString(w, text[at:])
		_, err4 := io.WriteString(one, text[at:])
		if err := errors.Join(err1, err2, err3, err4, w.Flush(), one.Flush()); err != nil {
			t.Fatal(err)
		}
		if out.String() != want.String() {
			t.Fatalf("%q handed over at %d:\ngot  %q\nwant %q", text, at, out.String(), want.String())
		}
	})
}
