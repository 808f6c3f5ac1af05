// Attentiveness x Bradley-Terry with Davidson's ties, and casual users
// who lean to a side: Earnest's default with ties.
data {
  int<lower=1> N, U, M;
  array[N] int<lower=1, upper=U> user;
  array[N] int<lower=1, upper=M> a, b;
  array[N] int<lower=1, upper=3> y;  // 1: a won, 2: b won, 3: tie
}
parameters {
  real<lower=0> alpha, beta;
  sum_to_zero_vector[M] skill;
  real<lower=0> nu;
  simplex[3] casual;
  vector<lower=0, upper=1>[U] eta;
}
model {
  alpha ~ lognormal(0, 1);
  beta ~ lognormal(0, 1);
  skill ~ normal(0, 2);
  nu ~ lognormal(0, 1);
  casual ~ dirichlet(rep_vector(2, 3));
  eta ~ beta(alpha, beta);
  for (n in 1:N) {
    real d = (skill[a[n]] - skill[b[n]]) / 2;
    vector[3] strength = [d, -d, log(nu)]';
    target += log_mix(eta[user[n]], log_softmax(strength)[y[n]], log(casual[y[n]]));
  }
}
