package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/schema"
)

// rootName is etcd's administrator, user and role.
const rootName = "root"

// RolePlan is what InitRoles is to do.
type RolePlan struct {
	// Steps are the changes in words, in their order. None: all is as it should be.
	Steps []string
	// Notes are what there is beside, and stays.
	Notes []string
	// Enabled says whether authentication is on already.
	Enabled bool

	s     *Store
	steps []roleStep
}

// PlanRoles reads the roles and users that etcd has and says what must change so
// that each node can touch its own keys only. Where authentication is on, that
// needs a user with the role root. A user of two nodes is refused, and so are roles
// that are another prefix's. To turn it on is refused unless this very user could
// turn it off again, and every node with an agent has a user.
func (s *Store) PlanRoles(ctx context.Context, c RolesConfig) (*RolePlan, error) {
	if err := c.validate(s.keys); err != nil {
		return nil, err
	}
	have, err := s.roleState(ctx, c)
	if err != nil {
		return nil, err
	}
	plan, err := planRoles(s.keys, c, have)
	if err != nil {
		return nil, err
	}
	p := &RolePlan{s: s, Enabled: have.enabled, steps: plan.steps, Notes: plan.notes}
	if c.Enable && !have.enabled {
		root, enableErr := s.planEnable(ctx, plan.have)
		if enableErr != nil {
			return nil, fmt.Errorf("authentication is not turned on: %w", enableErr)
		}
		p.steps = append(p.steps, root...)
	}
	for _, st := range p.steps {
		p.Steps = append(p.Steps, st.String())
	}
	return p, nil
}

// Apply does the steps one after the other, and tells of each that is done.
func (p *RolePlan) Apply(ctx context.Context, done func(step string)) error {
	for _, st := range p.steps {
		if err := p.s.roleStep(ctx, st); err != nil {
			return err
		}
		done(st.String())
	}
	return nil
}

// auth is a call about users and roles.
func (s *Store) auth(ctx context.Context, what string, fn func(context.Context, clientv3.Auth) error) error {
	return s.call(ctx, what, func(ctx context.Context, c *clientv3.Client) error { return fn(ctx, c.Auth) })
}

// roleState reads what the plan looks at.
func (s *Store) roleState(ctx context.Context, c RolesConfig) (roleState, error) {
	have := roleState{roles: map[string][]permission{}, users: map[string][]string{}}
	var roles, users []string
	err := s.auth(ctx, "list etcd's roles and users", func(ctx context.Context, a clientv3.Auth) error {
		status, err := a.AuthStatus(ctx)
		if err != nil {
			return err
		}
		r, err := a.RoleList(ctx)
		if err != nil {
			return err
		}
		u, err := a.UserList(ctx)
		if err != nil {
			return err
		}
		have.enabled, roles, users = status.Enabled, r.Roles, u.Users
		return nil
	})
	if err != nil {
		return have, err
	}
	ours := c.relevant(s.keys)
	for _, name := range roles {
		if ours[name] {
			if have.roles[name], err = s.permissions(ctx, name); err != nil {
				return have, err
			}
		}
	}
	for _, name := range users {
		got, err := s.rolesOf(ctx, name)
		if errors.Is(err, rpctypes.ErrUserNotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			return have, err
		}
		have.users[name] = got
	}
	return have, nil
}

func (s *Store) permissions(ctx context.Context, role string) ([]permission, error) {
	out := []permission{}
	err := s.auth(ctx, "read role "+role, func(ctx context.Context, a clientv3.Auth) error {
		resp, err := a.RoleGet(ctx, role)
		if err != nil {
			return err
		}
		for _, p := range resp.Perm {
			out = append(out, permission{key: string(p.Key), end: string(p.RangeEnd), kind: clientv3.PermissionType(p.PermType)})
		}
		return nil
	})
	return out, err
}

func (s *Store) rolesOf(ctx context.Context, user string) ([]string, error) {
	out := []string{}
	err := s.auth(ctx, "read user "+user, func(ctx context.Context, a clientv3.Auth) error {
		resp, err := a.UserGet(ctx, user)
		if err == nil {
			out = append(out, resp.Roles...)
		}
		return err
	})
	return out, err
}

// roleStep does one step. What is so already is no error: somebody else may be
// doing the same.
func (s *Store) roleStep(ctx context.Context, st roleStep) error {
	if st.verb == enableAuth {
		return s.enable(ctx)
	}
	return s.auth(ctx, st.String(), func(ctx context.Context, a clientv3.Auth) (err error) {
		switch st.verb {
		case addRole:
			_, err = a.RoleAdd(ctx, st.role)
		case grantPermission:
			_, err = a.RoleGrantPermission(ctx, st.role, st.perm.key, st.perm.end, st.perm.kind)
		case addUser:
			_, err = a.UserAddWithOptions(ctx, st.user, "", &clientv3.UserAddOptions{NoPassword: true})
		case grantRole:
			_, err = a.UserGrantRole(ctx, st.user, st.role)
		case revokePermission:
			_, err = a.RoleRevokePermission(ctx, st.role, st.perm.key, st.perm.end)
		case revokeRole:
			_, err = a.UserRevokeRole(ctx, st.user, st.role)
		case deleteUser:
			_, err = a.UserDelete(ctx, st.user)
		case deleteRole:
			_, err = a.RoleDelete(ctx, st.role)
		case addRoot:
			err = s.addRoot(ctx, a)
		case enableAuth: // see above
		}
		if isDoneAlready(err) {
			return nil
		}
		return err
	})
}

func isDoneAlready(err error) bool {
	for _, e := range []error{
		rpctypes.ErrRoleAlreadyExist, rpctypes.ErrUserAlreadyExist, rpctypes.ErrUserNotFound, rpctypes.ErrRoleNotFound,
		rpctypes.ErrRoleNotGranted, rpctypes.ErrPermissionNotGranted,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// addRoot makes the user root, so that who we are now can be it: with the
// password that we log in with, else for a certificate.
func (s *Store) addRoot(ctx context.Context, a clientv3.Auth) error {
	password, opts := "", &clientv3.UserAddOptions{NoPassword: true}
	if s.login != nil {
		var err error
		if password, err = s.login.password(); err != nil {
			return err
		}
		opts.NoPassword = false
	}
	_, err := a.UserAddWithOptions(ctx, rootName, password, opts)
	return err
}

// planEnable is what turns authentication on after what is planned, or why that
// would be wrong now.
func (s *Store) planEnable(ctx context.Context, have roleState) ([]roleStep, error) {
	if err := s.wouldBeRoot(have); err != nil {
		return nil, err
	}
	agents, _, err := s.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	var live []schema.Node
	for _, n := range agents {
		if n.Agent != nil {
			live = append(live, n.Node)
		}
	}
	if lost := have.withoutUser(NamesOfRoles(s.keys), live); len(lost) > 0 {
		return nil, fmt.Errorf("these nodes have an agent and no user, and would lose etcd: %s", joinNodes(lost))
	}
	var steps []roleStep
	roots, exists := have.users[rootName]
	if !exists {
		steps = append(steps, roleStep{verb: addRoot})
	}
	if !slices.Contains(roots, rootName) {
		steps = append(steps, roleStep{verb: grantRole, user: rootName, role: rootName})
	}
	return append(steps, roleStep{verb: enableAuth}), nil
}

// wouldBeRoot makes sure that who we are now is meant to be an administrator
// once authentication is on.
func (s *Store) wouldBeRoot(have roleState) error {
	user := s.User()
	if user == rootName || slices.Contains(have.users[user], rootName) {
		return nil
	}
	if user == "" {
		return errors.New("this connection has no user: connect with a certificate whose common name is root, or with --user root and --password-file")
	}
	return fmt.Errorf("user %s does not have the role root: connect with a certificate whose common name is root, or with --user root and --password-file", user)
}

// enable turns authentication on, and off again where etcd then does not take
// this connection for an administrator's: its password may be another one, or
// etcd may not read the names of certificates (--client-cert-auth). To be able
// to, a second administrator is there meanwhile, with a password that nobody
// knows.
func (s *Store) enable(ctx context.Context) error {
	second, err := s.addSecond(ctx)
	if err != nil {
		return err
	}
	err = s.auth(ctx, "enable authentication", func(ctx context.Context, a clientv3.Auth) error {
		_, enableErr := a.AuthEnable(ctx)
		return enableErr
	})
	if err == nil {
		err = s.confirmRoot(ctx, second)
	}
	return errors.Join(err, s.roleStep(ctx, roleStep{verb: deleteUser, user: second.user}))
}

// confirmRoot makes sure that etcd takes this connection for an administrator's,
// or turns authentication off as the second one.
func (s *Store) confirmRoot(ctx context.Context, second *login) error {
	err := s.auth(ctx, "look at the users as user "+s.User(), func(ctx context.Context, a clientv3.Auth) error {
		_, listErr := a.UserList(ctx)
		return listErr
	})
	if err == nil {
		return nil
	}
	err = fmt.Errorf("etcd does not take this connection for an administrator's: %w (does it run with --client-cert-auth?)", err)
	if off := s.disable(ctx, second); off != nil {
		return fmt.Errorf("%w; authentication is on and could not be turned off again: %w", err, off)
	}
	return fmt.Errorf("%w; authentication is off again", err)
}

// secondAdmin is the user that can turn authentication off again.
const secondAdmin = "vpp-cni-init-roles-temporary"

func (s *Store) addSecond(ctx context.Context) (*login, error) {
	password := rand.Text()
	if err := s.roleStep(ctx, roleStep{verb: deleteUser, user: secondAdmin}); err != nil {
		return nil, err // of a run that was interrupted
	}
	err := s.auth(ctx, "add user "+secondAdmin, func(ctx context.Context, a clientv3.Auth) error {
		if _, err := a.UserAdd(ctx, secondAdmin, password); err != nil {
			return err
		}
		_, err := a.UserGrantRole(ctx, secondAdmin, rootName)
		return err
	})
	return &login{user: secondAdmin, timeout: s.cfg.DialTimeout, password: func() (string, error) { return password, nil }}, err
}

// disable turns authentication off as another user.
func (s *Store) disable(ctx context.Context, as *login) error {
	other := &Store{cfg: s.cfg, keys: s.keys, files: s.files, login: as}
	c, err := clientv3.New(other.configure())
	if err != nil {
		return err
	}
	other.c = c
	defer func() { _ = other.Close() }()
	return other.auth(ctx, "disable authentication", func(ctx context.Context, a clientv3.Auth) error {
		_, err := a.AuthDisable(ctx)
		return err
	})
}

func joinNodes(nodes []schema.Node) string {
	out := make([]string, len(nodes))
	for i, n := range nodes {
		out[i] = string(n)
	}
	return strings.Join(out, ", ")
}
