package tenant

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
	"rsc.io/qr"

	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/delay"
	"github.com/Miosa-osa/miosa-env/secrets"
)

// quietZone is the number of light modules around a QR code.
const quietZone = 4

// showLink prints the link of a flow, and its QR code on a terminal.
func showLink(p *program.Program, flow *secrets.Flow, noQR, asJSON bool) error {
	to := io.Writer(p.Stdout)
	if asJSON {
		to = p.Stderr
	}
	if _, err := io.WriteString(to, "Open this link and agree:\n\n  "+cli.OneLine(flow.AuthorizeURL)+"\n\n"); err != nil {
		return err
	}
	if out, ok := screen(p); ok && !noQR {
		showQR(p, out, flow.AuthorizeURL)
	}
	return nil
}

// showQR prints a link as a QR code if the terminal is large enough.
func showQR(p *program.Program, out *os.File, link string) {
	code, err := qr.Encode(link, qr.L)
	if err != nil {
		return // too long for a QR code: the link is enough
	}
	width, height, err := term.GetSize(int(out.Fd()))
	if side := code.Size + 2*quietZone; err != nil || side > width || (side+1)/2 > height {
		fmt.Fprintf(p.Stderr, "(This terminal is too small for a QR code of it: that takes %d columns and %d lines.)\n\n", side, (side+1)/2)
		return
	}
	_, _ = io.WriteString(p.Stderr, drawQR(code, p.Colours(p.Stderr))+"\n")
}

// screen returns standard error if it is a terminal that can move its cursor.
func screen(p *program.Program) (*os.File, bool) {
	f, ok := program.TerminalOf(p.Stderr)
	return f, ok && p.Environ.Get("TERM") != "dumb"
}

// drawQR draws a QR code, two rows of modules per line: black on white with colours. Without colours it draws the light
// modules, which is correct on a dark terminal; on a light one the code is inverted, which most readers accept.
func drawQR(code *qr.Code, colours bool) string {
	const black, white, plain = "\x1b[38;5;16m", "\x1b[48;5;231m", "\x1b[0m"
	var out strings.Builder
	for y := -quietZone; y < code.Size+quietZone; y += 2 {
		if colours {
			out.WriteString(black + white)
		}
		for x := -quietZone; x < code.Size+quietZone; x++ {
			// Black is false outside of the code, also for the half line after the last row.
			block := 0
			if code.Black(x, y) == colours {
				block++
			}
			if code.Black(x, y+1) == colours {
				block += 2
			}
			out.WriteString([]string{" ", "▀", "▄", "█"}[block])
		}
		if colours {
			out.WriteString(plain)
		}
		out.WriteByte('\n')
	}
	return out.String()
}

// showWaiting shows text until done is called: on a terminal in a line that changes, otherwise once.
func showWaiting(ctx context.Context, p *program.Program, text string) (done func()) {
	if _, ok := screen(p); !ok || !p.Colours(p.Stderr) {
		fmt.Fprintf(p.Stderr, "%s\n", text)
		return func() {}
	}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		start := time.Now()
		for frames := []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"); ; frames = append(frames[1:], frames[0]) {
			fmt.Fprintf(p.Stderr, "\r\x1b[K%c %s, %s", frames[0], text, time.Since(start).Truncate(time.Second))
			if delay.Sleep(ctx, 120*time.Millisecond) != nil {
				_, _ = io.WriteString(p.Stderr, "\r\x1b[K")
				return
			}
		}
	}()
	return func() { stop(); <-ended }
}
