package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"

	"github.com/vpp-cni/vpp-cni/schema/file"
)

// login gives every call the token of a user with a password. Its own log-ins
// are in the place of those of etcd's client, which keeps the password it began
// with, and logs in for each stream: an agent's refresh of its lease would cost
// etcd a bcrypt hash each time.
//
// Tokens are lost when a member restarts, when they are not used for a while, and
// when the password is changed: etcd then refuses the call, and with a new token,
// for the password that stands in the file now, it is made once more.
type login struct {
	user     string
	password func() (string, error)
	timeout  time.Duration

	mu sync.Mutex // guards what follows, but is not held during a log-in
	// known says whether token is etcd's last answer; the token of an etcd
	// without users is empty.
	known bool
	token string
	// trying is closed when the log-in that is under way has ended.
	trying chan struct{}
}

// newLogin reads the password, to find out at once where it cannot be.
func newLogin(c Config) (*login, error) {
	if (c.User == "") != (c.PasswordFile == "") {
		return nil, errors.New("user and passwordFile go together: set both or none")
	}
	if c.User == "" {
		return nil, nil //nolint:nilnil // nobody to log in
	}
	read := func() (string, error) { return readPassword(c.PasswordFile) }
	if _, err := read(); err != nil {
		return nil, err
	}
	return &login{user: c.User, password: read, timeout: c.DialTimeout}, nil
}

// options make a connection send the token.
func (l *login) options() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithPerRPCCredentials(l),
		grpc.WithChainUnaryInterceptor(l.unary),
		grpc.WithChainStreamInterceptor(l.stream),
	}
}

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (l *login) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	token, _ := l.current()
	if token == "" {
		return nil, nil //nolint:nilnil // gRPC takes no metadata for none
	}
	return map[string]string{rpctypes.TokenFieldNameGRPC: token}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials. An etcd on
// a Unix socket or on loopback may have users without TLS.
func (l *login) RequireTransportSecurity() bool { return false }

func (l *login) current() (token string, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.token, l.known
}

// drop forgets a token that etcd did not take.
func (l *login) drop(token string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.token == token {
		l.known = false
	}
}

// ensure returns the token, after a log-in where there is none. Calls at the
// same time share one log-in.
func (l *login) ensure(ctx context.Context, cc *grpc.ClientConn) (string, error) {
	for {
		l.mu.Lock()
		if l.known {
			defer l.mu.Unlock()
			return l.token, nil
		}
		if other := l.trying; other != nil {
			l.mu.Unlock()
			select {
			case <-other:
				continue
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}
		mine := make(chan struct{})
		l.trying = mine
		l.mu.Unlock()

		token, err := l.authenticate(ctx, cc)

		l.mu.Lock()
		if err == nil {
			l.token, l.known = token, true
		}
		l.trying = nil
		l.mu.Unlock()
		close(mine)
		return token, err
	}
}

// authenticate asks etcd for a token.
func (l *login) authenticate(ctx context.Context, cc *grpc.ClientConn) (string, error) {
	password, err := l.password()
	if err != nil {
		return "", fmt.Errorf("log in as %s: %w", l.user, err)
	}
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	resp, err := etcdserverpb.NewAuthClient(cc).Authenticate(ctx, &etcdserverpb.AuthenticateRequest{Name: l.user, Password: password})
	err = rpctypes.Error(err)
	if errors.Is(err, rpctypes.ErrAuthNotEnabled) {
		return "", nil // an etcd without users: no token is needed
	}
	if err != nil {
		return "", fmt.Errorf("log in as %s: %w", l.user, err)
	}
	return resp.GetToken(), nil
}

// unary makes a call with a token, and once more with a new one where etcd did
// not take the token.
func (l *login) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if method == etcdserverpb.Auth_Authenticate_FullMethodName {
		return invoke(ctx, method, req, reply, cc, opts...)
	}
	token, err := l.ensure(ctx, cc)
	if err != nil {
		return err
	}
	err = invoke(ctx, method, req, reply, cc, opts...)
	if !badToken(err) {
		return err
	}
	l.drop(token)
	if _, err := l.ensure(ctx, cc); err != nil {
		return err
	}
	return invoke(ctx, method, req, reply, cc, opts...)
}

// stream begins a stream with a token. Where etcd does not take it the stream
// ends with that error, and the next one begins with another token.
func (l *login) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, begin grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	token, err := l.ensure(ctx, cc)
	if err != nil {
		return nil, err
	}
	s, err := begin(ctx, desc, cc, method, opts...)
	if err != nil {
		return nil, err
	}
	return &tokenStream{ClientStream: s, login: l, token: token}, nil
}

// tokenStream looks for the answers that say that the token is not taken.
type tokenStream struct {
	grpc.ClientStream
	login *login
	token string
}

// RecvMsg implements grpc.ClientStream.
func (s *tokenStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if badToken(err) {
		s.login.drop(s.token)
	}
	return err
}

// badToken says whether etcd did not take the token of a call or a stream, or
// misses one. A watch is refused by an answer, after which it is begun anew by a
// list, which is a call.
func badToken(err error) bool {
	if err == nil {
		return false
	}
	for _, e := range []error{rpctypes.ErrGRPCInvalidAuthToken, rpctypes.ErrGRPCUserEmpty, rpctypes.ErrGRPCAuthOldRevision} {
		if rpctypes.ErrorDesc(err) == rpctypes.ErrorDesc(e) {
			return true
		}
	}
	return false
}

func readPassword(path string) (string, error) {
	data, err := file.Read(path)
	if err != nil {
		return "", fmt.Errorf("passwordFile: %w", err)
	}
	password := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if password == "" {
		return "", fmt.Errorf("passwordFile: %s is empty", path)
	}
	return password, nil
}
