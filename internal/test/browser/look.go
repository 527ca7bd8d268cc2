package browser

import (
	"context"
	"os"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// Feature is one thing that a person may have set on their device, and that a page can ask for in CSS.
type Feature struct{ name, value string }

// What people set.
var (
	Light         = Feature{"prefers-color-scheme", "light"}
	Dark          = Feature{"prefers-color-scheme", "dark"}
	ReducedMotion = Feature{"prefers-reduced-motion", "reduce"}
	MoreContrast  = Feature{"prefers-contrast", "more"}
	ForcedColors  = Feature{"forced-colors", "active"}
)

// Media sets these features for a tab, and none of those that were set before.
func Media(features ...Feature) chromedp.Action[chromedp.Void] {
	var p emulation.SetEmulatedMediaParams
	for _, f := range features {
		p.Features = append(p.Features, &emulation.MediaFeature{Name: f.name, Value: f.value})
	}
	return chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, err := cdp.Call(ctx, tab, emulation.SetEmulatedMedia, p)
		return err
	})
}

// Phone makes a tab a phone: 390 by 844 points, two pixels a point, touched instead of clicked.
func Phone() chromedp.Action[chromedp.Void] {
	return chromedp.EmulateViewport(390, 844,
		chromedp.EmulateScale(2), chromedp.EmulateMobile, chromedp.EmulateTouch, chromedp.EmulatePortrait)
}

// Sideways tells by how many points a page is wider than the screen: 0, or people have to scroll sideways.
func Sideways() chromedp.Action[int] {
	return chromedp.Evaluate[int](`document.documentElement.scrollWidth - document.documentElement.clientWidth`)
}

// Save writes a picture of the whole page of a tab, as PNG.
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
