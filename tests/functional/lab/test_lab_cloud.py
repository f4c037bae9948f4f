"""The lab is a real Cinder that starts, works, and leaves no trace when it is taken down."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab import Lab, clouds, pool, settings
from tests.support.lab_tools import (
    MIB,
    CinderUser,
    exported,
    read,
    write,
)
from tests.support.waiting import until

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="the lab needs root"),
    pytest.mark.skipif(pool.mkfs() is None, reason="the lab needs mkfs.xfs (xfsprogs)"),
]
pytest.importorskip("cinder", reason="the lab needs cinder")
pytest.importorskip("waitress", reason="the lab needs waitress")


class TestCloud:
    def test_the_clouds_file_serves_a_session(self, running: Lab) -> None:
        from cinderclient import client
        from openstack import config

        assert stat.S_IMODE(running.clouds_file.stat().st_mode) == 0o600
        region = config.OpenStackConfig(
            config_files=[str(running.clouds_file)], load_envvars=False
        ).get_one("lab")
        cinder = client.Client("3.70", session=region.get_session())

        types = {each.name: each.extra_specs for each in cinder.volume_types.list()}
        assert types["lab"] == {"volume_backend_name": "lab"}
        assert types["lab-multiattach"]["multiattach"] == "<is> True"
        assert {each.zoneName for each in cinder.availability_zones.list()} == {"nova", "second"}
        assert cinder.quotas.get(settings.PROJECT).volumes >= 1000

    @pytest.mark.parametrize("many", [10, 20])
    def test_parallel_pipelines_do_not_disturb_each_other(self, running: Lab, many: int) -> None:
        def pipeline(number: int) -> None:
            mine = CinderUser(clouds.cinder(running.clouds_file))
            try:
                volume = mine.volume(name=f"pipeline {number}")
                snapshot = mine.snapshot(volume)
                copy = mine.volume(snapshot_id=snapshot.id)
                attachment, device = mine.attach(copy)
                assert mine.client.volumes.get(copy.id).status == "in-use"
                text = f"volume {copy.id}".encode() * 1000
                write(device, text)
                assert read(device, len(text)) == text
                mine.detach(attachment)
                mine.reaches(mine.client.volumes.get, copy.id, "available")
                mine.delete(copy)
                mine.delete(snapshot)
                mine.delete(volume)
            finally:
                mine.clean()

        with ThreadPoolExecutor(many) as threads:
            for done in [threads.submit(pipeline, number) for number in range(many)]:
                done.result()
        log = (running.directory.logs / "cinder.log").read_text()
        assert "returned with HTTP 5" not in log
        assert "database is locked" not in log

    def test_data_goes_all_the_way_round(self, cloud: CinderUser) -> None:
        volume = cloud.volume()
        attachment, device = cloud.attach(volume)
        before = os.urandom(MIB)
        write(device, before, offset=700 * MIB)

        snapshot = cloud.snapshot(volume)  # in use
        write(device, b"later" * 1000, offset=700 * MIB)

        copy = cloud.volume(2, snapshot_id=snapshot.id)
        its_attachment, its_device = cloud.attach(copy)
        assert read(its_device, MIB, offset=700 * MIB) == before
        assert read(its_device, MIB, offset=2047 * MIB) == bytes(MIB)  # what was added
        cloud.detach(its_attachment)

        is_exported = exported(device)
        cloud.detach(attachment)
        assert not is_exported()
        available = cloud.reaches(cloud.client.volumes.get, volume.id, "available")
        cloud.client.volumes.revert_to_snapshot(available, snapshot)
        cloud.reaches(cloud.client.volumes.get, volume.id, "available")
        attachment, device = cloud.attach(volume)
        assert read(device, MIB, offset=700 * MIB) == before
        cloud.detach(attachment)

    def test_a_volume_in_use_grows(self, cloud: CinderUser) -> None:
        volume = cloud.volume()
        attachment, device = cloud.attach(volume)
        cloud.client.volumes.extend(volume.id, 3)
        cloud.reaches(cloud.client.volumes.get, volume.id, "in-use")
        write(device, b"the end", offset=3 * pool.GIB - 7)
        assert read(device, 100, offset=3 * pool.GIB - 7) == b"the end"
        cloud.detach(attachment)

    def test_attachments_share_a_device_until_the_last_goes(self, cloud: CinderUser) -> None:
        volume = cloud.volume(volume_type="lab-multiattach")
        first, device = cloud.attach(volume)
        second, same = cloud.attach(volume)
        assert device == same
        is_exported = exported(device)
        cloud.detach(first)
        assert is_exported()
        third, same = cloud.attach(volume)
        assert device == same

        # Both at the same time: each still sees the other one in the database.
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(cloud.detach, [second, third]))
        assert not is_exported()

    def test_a_device_that_is_still_open_goes_with_its_user(self, cloud: CinderUser) -> None:
        volume = cloud.volume()
        attachment, device = cloud.attach(volume)
        is_exported = exported(device)
        with open(device, "rb"):
            cloud.detach(attachment)
            again, another = cloud.attach(volume)
            assert another != device
        until(lambda: not is_exported())
        cloud.detach(again)

    def test_volumes_are_made_in_the_zone_asked_for(self, cloud: CinderUser) -> None:
        volume = cloud.volume(availability_zone="second")
        copy = cloud.volume(snapshot_id=cloud.snapshot(volume).id)
        assert copy.availability_zone == "second"
        assert cloud.volume().availability_zone == "nova"

    def test_keystone_keeps_projects_apart(self, own: Lab) -> None:
        from cinderclient import exceptions

        own.up(keystone=True, size_gib=5)
        alpha, beta, admin = (
            CinderUser(own.cinder(name)) for name in ("lab-alpha", "lab-beta", "lab-admin")
        )
        volume = beta.volume()
        with pytest.raises(exceptions.NotFound):
            alpha.client.volumes.get(volume.id)
        for seen in ({}, {"all_tenants": 1}):
            assert alpha.client.volumes.list(search_opts=seen) == []
        assert [each.id for each in beta.client.volumes.list()] == [volume.id]
        assert admin.client.volumes.get(volume.id).id == volume.id
        with pytest.raises(exceptions.Forbidden):
            alpha.client.services.list()

        attachment, device = beta.attach(volume)
        write(device, b"beta")
        beta.detach(attachment)
        beta.clean()
        assert {each["state"] for each in own.status().services} == {"up"}
