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

// quietZone is how many light modules the standard wants around a QR code.
const quietZone = 4

// showLink prints a flow's link, and where people look at it a QR code.
// Errors: that the link, which nobody would see then, can't be written.
func showLink(p *program.Program, flow *secrets.Flow, noQR, asJSON bool) error {
	to := io.Writer(p.Stdout)
	if asJSON {
		to = p.Stderr
	}
	if _, err := io.WriteString(to, "Open this link and agree:\n\n  "+cli.OneLine(flow.AuthorizeURL)+"\n\n"); err != nil {
		return err
	}
	if out, ok := screen(p); ok && !noQR {
		showQR(p, out, flow)
	}
	return nil
}

// showQR shows a flow's link as a QR code on a terminal, where it fits.
func showQR(p *program.Program, out *os.File, flow *secrets.Flow) {
	code, err := qr.Encode(flow.AuthorizeURL, qr.L)
	if err != nil {
		return // too long for one: there is the link
	}
	width, height, err := term.GetSize(int(out.Fd()))
	if side := code.Size + 2*quietZone; err != nil || side > width || (side+1)/2 > height {
		fmt.Fprintf(p.Stderr, "(This terminal is too small for a QR code of it: that takes %d columns and %d lines.)\n\n", side, (side+1)/2)
		return
	}
	_, _ = io.WriteString(p.Stderr, drawQR(code, p.Colours(p.Stderr))+"\n")
}

// screen is standard error where it is a terminal that moves its cursor.
func screen(p *program.Program) (*os.File, bool) {
	f, ok := program.TerminalOf(p.Stderr)
	return f, ok && p.Environ.Get("TERM") != "dumb"
}

// drawQR draws two rows of modules a line. With colours it is black on white whatever the terminal's own are;
// without, light modules are drawn, which is right on a dark terminal, and most readers take the
// reverse on a light one.
func drawQR(code *qr.Code, colours bool) string {
	const black, white, plain = "\x1b[38;5;16m", "\x1b[48;5;231m", "\x1b[0m"
	var out strings.Builder
	end := code.Size + quietZone
	for y := -quietZone; y < end; y += 2 {
		if colours {
			out.WriteString(black + white)
		}
		for x := -quietZone; x < end; x++ {
			// What is outside of the code is light: so is the half line after the last row.
			upper, lower := code.Black(x, y), code.Black(x, y+1)
			if !colours {
				upper, lower = !upper, !lower
			}
			out.WriteString([]string{" ", "▀", "▄", "█"}[number(upper)+2*number(lower)])
		}
		if colours {
			out.WriteString(plain)
		}
		out.WriteByte('\n')
	}
	return out.String()
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// waiting says that something is waited for: on a terminal by a line that moves, until done is called,
// elsewhere once.
func waiting(ctx context.Context, p *program.Program, text string) (done func()) {
	if _, ok := screen(p); !ok || !p.Colours(p.Stderr) {
		fmt.Fprintf(p.Stderr, "%s\n", text)
		return func() {}
	}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		begun := time.Now()
		for frames := []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"); ; frames = append(frames[1:], frames[0]) {
			fmt.Fprintf(p.Stderr, "\r\x1b[K%c %s, %s", frames[0], text, time.Since(begun).Truncate(time.Second))
			if delay.Sleep(ctx, 120*time.Millisecond) != nil {
				_, _ = io.WriteString(p.Stderr, "\r\x1b[K")
				return
			}
		}
	}()
	return func() { stop(); <-ended }
}
