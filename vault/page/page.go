// Package page has what a vault shows in a browser: the page for a tenant's developer, which is a client of the API
// like others, and the pages that a user sees before and after connecting an account.
package page

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"net/http"
	"path"
	"time"
)

// files are the developer's page. Its key never reaches this package.
//
//go:embed static
var files embed.FS

// header is sent with each file. The page loads nothing from other origins, text can't become code, and no
// other page can put this one into a frame.
var header = map[string]string{
	// The browser revalidates its copy each time: a new version of the vault has a new page.
	"Cache-Control": "no-cache",
	"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Permissions-Policy": "accelerometer=(), autoplay=(), camera=(), display-capture=(), encrypted-media=(), geolocation=(), " +
		"gyroscope=(), hid=(), magnetometer=(), microphone=(), midi=(), payment=(), publickey-credentials-get=(), " +
		"screen-wake-lock=(), serial=(), usb=(), xr-spatial-tracking=(), clipboard-read=(), clipboard-write=(self)",
	"Referrer-Policy": "no-referrer",
}

// contentTypes are by extension, independent of the system's list.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// Serve answers with a file of the page: "" is the page itself. It reports false if there is no such file.
func Serve(w http.ResponseWriter, r *http.Request, name string) bool {
	const index = "index.html"
	body, err := files.ReadFile("static/" + cmp.Or(name, index))
	if err != nil || name == index {
		return false
	}
	h := w.Header()
	for name, value := range header {
		h.Set(name, value)
	}
	sum := sha256.Sum256(body)
	h.Set("Content-Type", contentTypes[path.Ext(cmp.Or(name, index))])
	h.Set("ETag", `"`+base64.RawURLEncoding.EncodeToString(sum[:12])+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	return true
}
