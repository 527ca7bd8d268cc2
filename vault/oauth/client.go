package oauth

import (
	"context"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"

	"github.com/Miosa-osa/miosa-env/api"
)

const (
	requestTimeout = 15 * time.Second // a whole request to a provider
	connectTimeout = 5 * time.Second  // finding its address, and connecting
	maxBody        = 1 << 20          // bytes of a response
)

// client connects to providers that the operator configured, through a proxy from the environment.
var client = newClient(http.ProxyFromEnvironment, (&net.Dialer{Timeout: connectTimeout}).DialContext)

// newClient follows no redirects, which would send codes and secrets to another host.
func newClient(proxy func(*http.Request) (*url.URL, error), dial func(ctx context.Context, network, address string) (net.Conn, error)) *http.Client {
	return &http.Client{
		Timeout: requestTimeout,
		Transport: limited{&http.Transport{
			Proxy: proxy, DialContext: dial, TLSHandshakeTimeout: 5 * time.Second,
			// An idle connection may be closed while a request is sent on it, and it is unknown whether the
			// provider has received that request.
			DisableKeepAlives: true,
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// limited limits the length of response bodies.
type limited struct{ next http.RoundTripper }

func (l limited) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := l.next.RoundTrip(r)
	if err == nil {
		res.Body = http.MaxBytesReader(nil, res.Body, maxBody)
	}
	return res, err
}

// requestToken makes one token request for scopes with c. Errors: *Error.
func requestToken(ctx context.Context, c *http.Client, scopes []string, request func(context.Context) (*oauth2.Token, error)) (Token, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var sent atomic.Bool // the provider may have received part of the request
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { sent.Store(true) },
	})
	got, err := request(context.WithValue(ctx, oauth2.HTTPClient, c))
	if err != nil {
		return Token{}, newError(err, sent.Load())
	}
	if strings.IndexByte(got.AccessToken+got.RefreshToken, 0) >= 0 { // no variable can have it: it would make the set of its resource unusable
		return Token{}, &Error{Outcome: Unclear, Code: codeNoAnswer}
	}
	t := Token{Access: api.NewValue([]byte(got.AccessToken)), Refresh: api.NewValue([]byte(got.RefreshToken)), Scopes: scopes}
	if !got.Expiry.IsZero() {
		t.ExpiresAt = new(got.Expiry.UTC().Truncate(time.Second))
	}
	if granted, ok := got.Extra("scope").(string); ok && granted != "" {
		t.Scopes = strings.FieldsFunc(granted, func(r rune) bool { return r == ' ' || r == ',' })
	}
	return t, nil
}
