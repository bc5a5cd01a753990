// Review and Learn begin with a job.
import { byId, count, duration, el, keepInStep, watch } from "./page.js";

const to = byId("choices").dataset.to;

function fill(item, job) {
  const begun = `${job.model}, begun ${duration(Date.now() / 1000 - job.created_at)} ago`;
  item.replaceChildren(
    el("a", { className: "card choice", href: to + job.job }, el("b", {}, job.name), el("b", {}, count(job.read)), el("span", {}, begun), el("span", {}, "read")),
  );
}

watch((state) => {
  const jobs = state.jobs.filter((job) => job.read > 0);
  byId("empty").hidden = jobs.length > 0;
  const told = JSON.stringify(jobs.map((job) => [job.job, job.read]));
  if (byId("choices").dataset.told === told) return;
  byId("choices").dataset.told = told;
  keepInStep(byId("choices"), jobs, (job) => job.job, () => el("li"), fill);
});
