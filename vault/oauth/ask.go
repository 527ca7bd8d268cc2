package oauth

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/oauth2"

	"github.com/Miosa-osa/miosa-env/api"
)

const (
	requestTimeout = 15 * time.Second // a whole request to a provider
	maxAnswer      = 1 << 20          // bytes of a provider's answer
)

// client reaches providers that the operator configured, through the operator's proxy where there is one.
var client = newClient(http.ProxyFromEnvironment, nil)

// publicClient reaches what a tenant named, in the public network only. It uses no proxy: behind one the check
// of the address would be the proxy's to make.
var publicClient = newClient(nil, func(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || !public(to.Addr()) {
		return errNotPublic
	}
	return nil
})

var errNotPublic = errors.New("the address is not a public one; an operator can allow the URL under [machine] token_urls")

// newClient follows no redirect: it would carry codes and secrets to another place.
func newClient(proxy proxyFunc, control func(network, address string, c syscall.RawConn) error) *http.Client {
	dialer := &net.Dialer{Timeout: 5 * time.Second, Control: control}
	return &http.Client{
		Timeout: requestTimeout,
		Transport: limited{&http.Transport{
			Proxy: proxy, DialContext: dialer.DialContext, TLSHandshakeTimeout: 5 * time.Second,
			// A connection kept open may turn out closed when a request is already on its way, and then nobody
			// knows whether the provider has seen it.
			DisableKeepAlives: true,
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

type proxyFunc = func(*http.Request) (*url.URL, error)

// limited cuts answers off that are too long.
type limited struct{ next http.RoundTripper }

func (l limited) RoundTrip(r *http.Request) (*http.Response, error) {
	a, err := l.next.RoundTrip(r)
	if err == nil {
		a.Body = &limitedBody{io.LimitReader(a.Body, maxAnswer), a.Body}
	}
	return a, err
}

type limitedBody struct {
	io.Reader
	io.Closer
}

// loopbackHost tells whether a URL's host is this machine by its name.
func loopbackHost(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

var (
	nat64     = netip.MustParsePrefix("64:ff9b::/96")
	notPublic = []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
		netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("64:ff9b:1::/48"),
		netip.MustParsePrefix("fec0::/10"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("2001::/32"),
	}
)

// public tells whether an address is out in the world: not this machine's, a private network's or a link's.
func public(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	if nat64.Contains(ip) {
		b := ip.As16()
		ip = netip.AddrFrom4([4]byte(b[12:]))
	}
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || ip.IsLoopback() {
		return false
	}
	for _, p := range notPublic {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}

// asking makes one request for a token and judges how it ended. ctx's end ends it; so does requestTimeout.
func asking(ctx context.Context, through *http.Client, asked []string, request func(context.Context) (*oauth2.Token, error)) (Token, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var sent atomic.Bool // something of the request may have reached the provider
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { sent.Store(true) },
	})
	got, err := request(context.WithValue(ctx, oauth2.HTTPClient, through))
	if err != nil {
		return Token{}, judge(err, sent.Load())
	}
	t := Token{Access: api.NewValue([]byte(got.AccessToken)), Refresh: api.NewValue([]byte(got.RefreshToken)), Scopes: asked}
	if !got.Expiry.IsZero() {
		at := got.Expiry.UTC().Truncate(time.Second)
		t.ExpiresAt = &at
	}
	if granted, ok := got.Extra("scope").(string); ok && granted != "" {
		t.Scopes = strings.FieldsFunc(granted, func(r rune) bool { return r == ' ' || r == ',' })
	}
	return t, nil
}
