package browser

import (
	"context"
	"os"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// Feature is a preference of users, which CSS can query.
type Feature = *emulation.MediaFeature

// Preferences.
var (
	Light         = &emulation.MediaFeature{Name: "prefers-color-scheme", Value: "light"}
	Dark          = &emulation.MediaFeature{Name: "prefers-color-scheme", Value: "dark"}
	ReducedMotion = &emulation.MediaFeature{Name: "prefers-reduced-motion", Value: "reduce"}
)

// Media sets the preferences of a tab, and resets all others.
func Media(features ...Feature) chromedp.Action[chromedp.Void] {
	p := emulation.SetEmulatedMediaParams{Features: features}
	return chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, err := cdp.Call(ctx, tab, emulation.SetEmulatedMedia, p)
		return err
	})
}

// Phone emulates a phone: 390 by 844 points, two pixels per point, with a touch screen.
func Phone() chromedp.Action[chromedp.Void] {
	return chromedp.EmulateViewport(390, 844,
		chromedp.EmulateScale(2), chromedp.EmulateMobile, chromedp.EmulateTouch, chromedp.EmulatePortrait)
}

// Overflow returns by how many points a page is wider than the screen, so that it scrolls horizontally; 0: it fits.
func Overflow() chromedp.Action[int] {
	return chromedp.Evaluate[int](`document.documentElement.scrollWidth - document.documentElement.clientWidth`)
}

// Save writes a picture of the whole page in PNG.
func Save(t testing.TB, ctx context.Context, path string) { //nolint:revive // t comes first in what serves tests
	t.Helper()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatalf("take a picture for %s: %v", path, err)
	}
	if err := os.WriteFile(path, png, 0o644); err != nil { //nolint:gosec // a picture for everybody
		t.Fatal(err)
	}
}
