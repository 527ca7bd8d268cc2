package tenant

import (
	"strings"
	"testing"

	"rsc.io/qr"
)

// The drawing has every module of the code, dark on light, and a quiet zone of four modules.
func TestDrawnQR(t *testing.T) {
	code, err := qr.Encode("https://github.example/login/oauth/authorize?client_id=c&state="+strings.Repeat("s", 43), qr.L)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		colours bool
	}{{"black on white", true}, {"light modules drawn", false}} {
		t.Run(tt.name, func(t *testing.T) {
			lines := strings.Split(strings.TrimSuffix(drawQR(code, tt.colours), "\n"), "\n")
			side := code.Size + 8
			if len(lines) != (side+1)/2 {
				t.Fatalf("%d lines for %d rows", len(lines), side)
			}
			for i, line := range lines {
				if tt.colours {
					inside, begins := strings.CutPrefix(line, "\x1b[38;5;16m\x1b[48;5;231m")
					inside, ends := strings.CutSuffix(inside, "\x1b[0m")
					if !begins || !ends {
						t.Fatalf("line %d isn't of its own colours to its end", i)
					}
					line = inside
				}
				cells := []rune(line)
				if len(cells) != side {
					t.Fatalf("line %d has %d columns, want %d", i, len(cells), side)
				}
				for x, c := range cells {
					inked := [2]bool{c == '▀' || c == '█', c == '▄' || c == '█'}
					for half, ink := range inked {
						y := 2*i + half
						if dark := ink == tt.colours; dark != code.Black(x-4, y-4) {
							t.Fatalf("row %d, column %d is dark: %v", y, x, dark)
						}
					}
				}
			}
		})
	}
}
